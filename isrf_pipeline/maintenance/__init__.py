"""Keeps a lake from growing: old nights go, small files become large ones, files that no version needs are removed."""
