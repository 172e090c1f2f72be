"""Layout assignment: channels-last forms of operators, and where transposes go."""
