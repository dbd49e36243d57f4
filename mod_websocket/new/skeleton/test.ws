# What @NAME@ says: see websocket-run(1) for the language.
open /
expect text Welcome!
send text hello
expect text 1: hello
send text again
expect text 2: again
send binary 00ff
expect close 1003 only text is understood here
