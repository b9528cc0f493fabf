"""Who may do what: RBAC, what changes of it, and what that amounts to."""
