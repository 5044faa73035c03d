"""Turn a prompt with fields, variants and wildcards into the text that is rendered (docs/prompts.md)."""
