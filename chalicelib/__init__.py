"""All code that runs in the Lambdas; ships whole into the package."""

__version__ = "0.1.0"
