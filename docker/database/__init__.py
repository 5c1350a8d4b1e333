"""What the database's container does before PostgreSQL runs.

Standard library only: it runs on the server's Python, 3.9 or later.
"""
