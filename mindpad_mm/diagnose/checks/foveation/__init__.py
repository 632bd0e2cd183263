"""How often each input pixel is used."""
