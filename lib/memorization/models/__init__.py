"""What learns: random-feature and neural-tangent regression, and networks split in named stages."""
