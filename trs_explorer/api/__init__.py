"""What a notebook uses: `import trs_explorer as trs` gives these functions. They call what the commands call."""
