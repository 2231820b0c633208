"""A client as it should be: it publishes with confirms to a quorum queue, consumes from it with acknowledgements, and
goes on at another node where one closes the connection. Ends when its standard input does, and prints as JSON what was
confirmed, consumed, and lost; and of the nodes, how many served clients at every moment.

    client.py QUEUE ADDRESS...
"""

import json
import socket
import sys
import threading
import time

import pika

QUEUE, NODES = sys.argv[1], sys.argv[2:]
# Seconds.
STALLED, END_LIMIT, SAMPLE = 5, 60, 0.05
RETRY = (pika.exceptions.AMQPError, OSError)

confirmed, consumed = set(), {}
counts = {"reconnects": 0, "longest_silence": 0.0, "least_serving": len(NODES), "samples": 0}
stopping, done = threading.Event(), threading.Event()


def connections(first):
    """Connections, one after the other, each to the next node that takes one."""
    at, fresh = first, True
    while not done.is_set():
        node = NODES[at % len(NODES)]
        at += 1
        try:
            connection = pika.BlockingConnection(
                pika.ConnectionParameters(
                    node,
                    credentials=pika.PlainCredentials("client", "client"),
                    heartbeat=4,
                    blocked_connection_timeout=STALLED,
                    socket_timeout=2,
                    stack_timeout=STALLED,
                )
            )
        except RETRY:
            time.sleep(0.05)
            continue
        if not fresh:
            counts["reconnects"] += 1
        fresh = False
        yield connection
        try:
            connection.close()
        except RETRY:
            pass


def declare(channel):
    channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})


def publish():
    number, last = 0, time.monotonic()
    for connection in connections(0):
        try:
            channel = connection.channel()
            declare(channel)
            channel.confirm_delivery()
            while not stopping.is_set():
                # Without a confirm it is sent again under the same id: twice is not lost.
                message = pika.BasicProperties(delivery_mode=2, message_id=str(number))
                try:
                    channel.basic_publish("", QUEUE, b"x" * 64, message, mandatory=True)
                except pika.exceptions.NackError:
                    continue
                now = time.monotonic()
                counts["longest_silence"] = max(counts["longest_silence"], now - last)
                last = now
                confirmed.add(number)
                if number == 0:
                    print("ready", flush=True)
                number += 1
                time.sleep(0.002)
            return
        except RETRY:
            pass


def consume():
    for connection in connections(1):
        try:
            channel = connection.channel()
            declare(channel)
            channel.basic_qos(prefetch_count=100)
            for method, properties, _ in channel.consume(QUEUE, inactivity_timeout=0.2):
                if method is not None:
                    number = int(properties.message_id)
                    consumed[number] = consumed.get(number, 0) + 1
                    channel.basic_ack(method.delivery_tag)
                if done.is_set():
                    return
        except RETRY:
            pass


def serves(node):
    try:
        with socket.create_connection((node, 5672), timeout=0.3) as line:
            line.sendall(b"AMQP\0\0\x09\1")
            line.settimeout(1)
            # Its first frame: connection.start.
            return line.recv(1) == b"\1"
    except OSError:
        return False


def watch():
    while not stopping.is_set():
        serving = sum(serves(node) for node in NODES)
        counts["least_serving"] = min(counts["least_serving"], serving)
        counts["samples"] += 1
        time.sleep(SAMPLE)


threads = [threading.Thread(target=work, daemon=True) for work in (publish, consume, watch)]
for thread in threads:
    thread.start()
sys.stdin.read()
stopping.set()
threads[0].join(END_LIMIT)
end = time.monotonic() + END_LIMIT
while not confirmed <= consumed.keys() and time.monotonic() < end:
    time.sleep(0.05)
done.set()
threads[1].join(END_LIMIT)
print(
    json.dumps(
        {
            "confirmed": len(confirmed),
            "consumed": len(consumed),
            "repeated": sum(times > 1 for times in consumed.values()),
            "lost": sorted(confirmed - consumed.keys()),
            **counts,
        }
    ),
    flush=True,
)
