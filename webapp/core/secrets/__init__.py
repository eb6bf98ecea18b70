"""Client secrets: generation, policy, hashing, rotation, actions on one secret."""
