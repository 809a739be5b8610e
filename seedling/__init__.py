"""How the seedling, the small model that ships with selflengthen, is made. Run from the repository root; not installed with the package."""
