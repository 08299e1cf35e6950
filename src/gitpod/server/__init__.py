"""The embedded SecretService, which does not import the client.

`service.py` has the handlers, `auth.py` who may call them, `app.py` puts everything together. `edge/` is what a
request passes first, `keys/` the sealing, `storage/` the SQL, `serving/` the sockets, `operate.py` operators' work.
"""
