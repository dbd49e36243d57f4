# The chat: who is in a room hears what the others say, and who comes and goes.

open alice /lobby
expect alice like *"type":"welcome"*
open bob /lobby
expect bob like *"type":"welcome"*
expect alice like *"type":"user_joined"*

send bob text {"type":"chat","message":"hello","username":"Bob"}
expect alice like {"type":"chat",*"message":"hello",*"username":"Bob"}
expect bob nothing

# another room; the query says which, and a fragment is a message's part
open carol /?room=kitchen
expect carol like *"type":"welcome"*
fragment carol text {"type":"ping",
send carol text "timestamp":7}
expect carol like *"type":"pong"*
expect alice nothing

send bob text no JSON
expect bob like *"type":"error"*
drop bob
expect alice like *"type":"user_left"*

open eve /not%20a%20room
expect eve refused 400
