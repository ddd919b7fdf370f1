"""The search: which architectures are proposed, raced, scored and ranked."""
