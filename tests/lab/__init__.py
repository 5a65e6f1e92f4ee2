"""A private network world for the demo, the kernel tests and the playbook tests."""
