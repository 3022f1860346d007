"""Ask providers one after the other and keep nothing, as anybody's script would: in_turn.py PORT PROVIDERS."""

import json
import sys
import urllib.request

seen = 0
for provider in range(int(sys.argv[2])):
    with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/{provider}/models") as answer:
        seen += len(json.load(answer)["data"])
print(seen)
