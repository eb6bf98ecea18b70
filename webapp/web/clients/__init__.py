"""The screens of identity clients."""
