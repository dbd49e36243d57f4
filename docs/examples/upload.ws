# websocket-run ./upload.so --script upload.ws
# mkdir store; websocket-run ./upload.so directory=store --script upload.ws

open /
send text foobar
expect close 1003 binary messages only

open /
send binary 66 6f 6f 62 61 72
expect text {"bytes":6,"checksum":"85944171f73967e8"}

fragment binary 66 6f 6f
fragment binary 62 61
send binary 72
expect text {"bytes":6,"checksum":"85944171f73967e8"}

# This one breaks off: nothing of it stays.
fragment binary 66 6f 6f
drop
