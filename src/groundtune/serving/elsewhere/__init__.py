"""Requests for models of other endpoints."""
