# Publishes one message over AMQP 0-9-1 with a publisher confirm, by Python's standard library alone. What to do comes as
# JSON on standard input; what came of it goes to standard output as JSON. Exit status 1, and words on standard error.
import json
import socket
import ssl
import struct
import sys

want = json.load(sys.stdin)
limit = want["timeout"]


def fail(text):
    sys.stderr.write(text + "\n")
    sys.exit(1)


def short(text):
    data = text.encode()
    if len(data) > 255:
        fail("longer than the 255 bytes AMQP allows: " + text[:40] + "...")
    return bytes([len(data)]) + data


def long(data):
    return struct.pack(">I", len(data)) + data


def field(value):
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        return b"l" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"d" + struct.pack(">d", value)
    if isinstance(value, dict):
        return b"F" + table(value)
    if isinstance(value, list):
        return b"A" + long(b"".join(field(item) for item in value))
    return b"S" + long(value.encode())


def table(values):
    return long(b"".join(short(key) + field(value) for key, value in values.items()))


def send(kind, channel, payload):
    link.sendall(struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce")


def call(channel, number, arguments=b""):
    send(1, channel, struct.pack(">HH", *number) + arguments)


def read(count):
    data = b""
    while len(data) < count:
        more = link.recv(count - len(data))
        if not more:
            fail("the broker closed the connection" + ("" if opened else ": user, password or virtual host may be wrong"))
        data += more
    return data


def said(payload):
    code, size = struct.unpack_from(">HB", payload)
    return "%d %s" % (code, payload[3 : 3 + size].decode("utf-8", "replace"))


def heard(*numbers):
    """The next method among these; others that are not errors are passed over."""
    while True:
        kind, _, size = struct.unpack(">BHI", read(7))
        payload = read(size + 1)[:-1]
        if kind != 1:
            continue
        number = struct.unpack_from(">HH", payload)
        if number in ((10, 50), (20, 40)):
            fail("the broker refused: " + said(payload[4:]))
        if number in numbers:
            return number, payload[4:]


opened = False
try:
    link = socket.create_connection((want["host"], want["port"]), limit)
    if want["tls"]:
        context = ssl.create_default_context(cafile=want["cafile"])
        if want["certfile"]:
            context.load_cert_chain(want["certfile"], want["keyfile"])
        link = context.wrap_socket(link, server_hostname=want["host"])
    link.settimeout(limit)
    body = want["body"].encode()
    if want["src"] is not None:
        with open(want["src"], "rb") as file:
            body = file.read()
    link.sendall(b"AMQP\x00\x00\x09\x01")
    heard((10, 10))
    login = ("\0" + want["username"] + "\0" + want["password"]).encode()
    capabilities = {"capabilities": {"authentication_failure_close": True, "publisher_confirms": True}}
    call(0, (10, 11), table(capabilities) + short("PLAIN") + long(login) + short("en_US"))
    _, tune = heard((10, 30))
    channels, frame, _ = struct.unpack(">HIH", tune)
    frame = frame or 131072
    call(0, (10, 31), struct.pack(">HIH", channels, frame, 0))
    call(0, (10, 40), short(want["vhost"]) + short("") + b"\0")
    heard((10, 41))
    opened = True
    call(1, (20, 10), short(""))
    heard((20, 11))
    exchange, key = want["exchange"] or "", want["routing_key"] or ""
    if want["exchange"] is None:
        bits = 2 * want["durable"] + 4 * want["exclusive"] + 8 * want["auto_delete"]
        call(1, (50, 10), b"\0\0" + short(want["queue"] or "") + bytes([bits]) + table({}))
        _, declared = heard((50, 11))
        key = declared[1 : 1 + declared[0]].decode()
    call(1, (85, 10), b"\0")
    heard((85, 11))
    # mandatory: what no queue takes comes back.
    call(1, (60, 40), b"\0\0" + short(exchange) + short(key) + b"\x01")
    properties = short(want["content_type"]) + table(want["headers"])
    send(2, 1, struct.pack(">HHQH", 60, 0, len(body), 0xA000) + properties)
    for start in range(0, len(body), frame - 8):
        send(3, 1, body[start : start + frame - 8])
    returned = None
    while True:
        number, payload = heard((60, 50), (60, 80), (60, 120))
        if number != (60, 50):
            break
        returned = said(payload)
    if number == (60, 120):
        fail("the broker did not take the message (nack)")
    if returned:
        fail("no queue takes it: " + returned)
    call(0, (10, 50), struct.pack(">H", 200) + short("done") + b"\0\0\0\0")
    where = "queue " + key if want["exchange"] is None else "exchange " + exchange
    print(json.dumps({"msg": "Successfully published to " + where, "content_type": want["content_type"], "queue": key}))
except socket.timeout:
    fail("no answer within %d s" % limit)
except OSError as error:
    fail(str(error))
