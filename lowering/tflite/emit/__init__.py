"""One emitter per operator."""
