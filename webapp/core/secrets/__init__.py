"""Client secrets: generation, policy, hashing, rotation, and the actions on one secret."""
