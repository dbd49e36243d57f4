# The echo: each message comes back as it came.

header Sec-WebSocket-Protocol: other, echo
open /
expect header Sec-WebSocket-Protocol: echo
send text hello
expect text hello
send text
expect text
send text   two blanks in front, and one behind 
expect text   two blanks in front, and one behind 
send text Xin chào \n is no line feed
expect text Xin chào \n is no line feed
send escaped two\nlines, \\ and \x00\x7f
expect escaped two\nlines, \\ and \x00\x7f
send binary 00 ff 10
expect binary 00ff10

# in parts
fragment text hel
fragment text lo,
send text  world
expect text hello, world

# a ping, masked with zeros, in two pieces
send frame 89 82 00 00
send frame 00 00 68 69
expect pong 6869

close 1000 good-bye
expect close 1000 good-bye

# text that is not UTF-8
open /again
send escaped \xff
expect close 1007
open /again
drop
expect close 1006
