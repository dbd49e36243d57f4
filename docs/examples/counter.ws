# websocket-run ./counter.so every=20ms fastest=10ms --script counter.ws

open /
send text go
expect text error: start, stop or fast?
send text start
expect text 1
expect text 2

# Each client has a counter of its own.
open other /
send other text fast
send other text start
expect other text 1
expect other text 2
close other

expect text 3
