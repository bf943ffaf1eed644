"""What a person looks at, drawn from plain data: tables, pages, galleries."""
