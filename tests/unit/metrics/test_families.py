import subprocess
import sys

CODE = """
import sys
from shardns.metrics import families
print(sorted(set(sys.modules) & {"http.server", "wsgiref.simple_server", "urllib.request", "email.message"}))
import http.server, urllib.request
print(http.server.BaseHTTPRequestHandler.__mro__[1].__name__, callable(urllib.request.urlopen))
"""


def test_no_http_server_comes_along():
    """The families are had without the HTTP and mail modules of the standard library, which stay usable for others."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nStreamRequestHandler True\n"
