"""All code that runs in the Lambdas; ships whole into the package."""
