"""What engines are built for: devices as files, the GPU at hand, what fits it and what exists there."""
