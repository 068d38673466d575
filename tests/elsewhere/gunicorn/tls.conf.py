import ssl

bind = "0.0.0.0:8443"
workers = 2
certfile = "/etc/ssl/shop.pem"
keyfile = "/etc/ssl/shop.key"
ca_certs = "/etc/ssl/clients.pem"
cert_reqs = ssl.CERT_REQUIRED
ssl_version = ssl.PROTOCOL_TLS_SERVER
ciphers = "ECDHE+AESGCM"
do_handshake_on_connect = True
