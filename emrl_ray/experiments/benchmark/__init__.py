"""The paper's protocol: data sets, methods, and one training on one split (Na 2022, SI section 5)."""
