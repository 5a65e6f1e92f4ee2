"""Booted nodes: hosts with systemd, sshd, sudo and a distribution's packages, in a private world."""
