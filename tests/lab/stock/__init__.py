"""Nodes with a kernel of their own: Debian's stock kernels, which QEMU emulates on a read-only view of this machine."""
