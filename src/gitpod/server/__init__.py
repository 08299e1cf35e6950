"""The embedded SecretService, which does not import the client.

`service.py` has the rules, `store.py` the SQL, `keyring.py` the sealing, `app.py` the wiring.
"""
