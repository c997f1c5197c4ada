"""Files anywhere (local, s3://, gs://), and what the machine offers."""
