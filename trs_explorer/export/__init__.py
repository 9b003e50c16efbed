"""A run for other programs: its log as a table or TensorBoard event files, its weights as a plain state dict."""
