# websocket-run ./slowwork.so most=1000000000000 --script slowwork.ws

open /
send text 1000
expect text 168
send text many
expect text error: that is no number, or too large

# This would take hours. Others have their answers in the meantime.
send text 1000000000000
send text 100
expect text error: one at a time
open other /
send other text 100
expect other text 25
send text cancel
expect text cancelled

# Nobody waits for this one: it ends, too.
send text 1000000000000
drop
