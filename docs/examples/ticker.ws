# echo "ACME 101.25" >prices
# websocket-run ./ticker.so prices=prices lock=lock every=20ms --script ticker.ws

open reader /
send reader text subscribe ACME
expect reader text ok
expect reader like ACME 101.25 *
expect reader like ACME 101.25 *

open watcher /
send watcher text subscribe NOBODY
expect watcher text error: no such symbol
send watcher text alert ACME 500
expect watcher text ok
send watcher text alert ACME 100
expect watcher text ok
expect watcher text alert ACME 101.25
close watcher

