"""One architecture per file: tensors in, tensors out; no downloads, no devices, no spaces."""
