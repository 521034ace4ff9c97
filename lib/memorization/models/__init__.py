"""What learns: random-feature and neural-tangent regression."""
