"""What the test cameras and encoders show: pictures with the wall clock painted into them, and a hum that beeps.

Along the top of each picture stand 40 squares of one fortieth of its width: 8 of a fixed pattern (10110010) and the
wall clock in milliseconds modulo 2^32, most significant bit first, white for 1. A page reads them back from the
decoded picture, so that capture-to-screen latency needs no code in common with what is measured, and a picture that
is older than the one before it is out of order.

Run by itself it writes bare NV12 pictures to its standard output, at their rate, for an encoder that reads a pipe.
"""
import argparse
import array
import math
import os
import random
import sys
import time

PATTERN = [1, 0, 1, 1, 0, 0, 1, 0]
WHITE, GREY, BLACK = 235, 128, 16
SAMPLE_RATE = 48000


def parser(description):
    """The options that whatever shows a scene has."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--size', default='640x360')
    options.add_argument('--fps', type=int, default=25)
    options.add_argument('--noise', action='store_true', help='pictures that do not compress: uses up --kbps')
    return options


def encoding(options):
    """And those of what also encodes it."""
    options.add_argument('--gop', type=int, default=50, help='frames from key frame to key frame')
    options.add_argument('--kbps', type=int, default=1500)
    options.add_argument('--bframes', type=int, default=0)
    options.add_argument('--audio', nargs='?', const='aac', default='', metavar='CODEC',
                         help='a hum, and a beep with each second; AAC unless another codec is named')
    return options


def tone(hertz, level):
    """One second of a sine; whole periods, so that slices of it join."""
    return array.array('h', (int(level * math.sin(2 * math.pi * hertz * i / SAMPLE_RATE))
                             for i in range(SAMPLE_RATE)))


class Scene:
    """Pictures and the sound that goes with them, by the options of `parser`."""

    def __init__(self, options):
        self.width, self.height = map(int, options.size.split('x'))
        self.fps = options.fps
        self.noise = options.noise
        width, height = self.width, self.height
        # A diagonal ramp, twice in a row: a picture is a window onto it that moves on, one slice instead of a loop.
        if self.noise:
            self.ramp = os.urandom(width * height * 2)
        else:
            self.ramp = bytes((x * 255 // width + y * 255 // height) // 2
                              for y in range(height) for x in range(width)) * 2
        self.hum, self.beep = tone(200, 300), tone(1000, 20000)

    def squares(self, bits):
        """One row of squares."""
        row = b''.join(bytes([WHITE if bit else BLACK]) * (self.width // 40) for bit in bits)
        return row + bytes([BLACK]) * (self.width - len(row))

    def picture(self, n):
        """The NV12 picture number `n`, of now."""
        width, height, square = self.width, self.height, self.width // 40
        now = time.time()
        clock_ms = int(now * 1000) & 0xFFFFFFFF
        # Noise jumps, or the encoder would find that it only moved.
        at = random.randrange(width * height) if self.noise else n * 4 % width
        luma = bytearray(self.ramp[at:at + width * height])
        luma[:width * square] = self.squares(PATTERN + [clock_ms >> (31 - i) & 1 for i in range(32)]) * square
        luma[width * square:width * (square + 4)] = bytes([GREY]) * (width * 4)
        # The bottom flashes with the beep, once a second.
        foot = height // 8 * width
        luma[-foot:] = bytes([WHITE if now % 1 < 0.1 else BLACK]) * foot
        bar = n * 8 % (width - 32)
        chroma = bytearray([GREY]) * width
        chroma[bar:bar + 32] = bytes([90]) * 32
        return bytes(luma + chroma * (height // 2))

    def sound(self, n):
        """The samples that go with picture `n`."""
        count = SAMPLE_RATE // self.fps
        at = n * count % SAMPLE_RATE
        source = self.beep if time.time() % 1 < 0.1 else self.hum
        return (source[at:at + count] + source[:max(0, at + count - SAMPLE_RATE)]).tobytes()


def plays(source):
    """Whether an appsrc plays.

    Before that it has no base time: what it is given would be stamped with the time since boot, and a sink that keeps time
    would hold it, and all behind it, for as long.
    """
    from gi.repository import Gst
    return source.get_state(0)[1] == Gst.State.PLAYING


def push(source, data, pts=None):
    """Gives an appsrc its next buffer; without a time, of now."""
    from gi.repository import Gst
    buffer = Gst.Buffer.new_wrapped(data)
    if pts is not None:
        buffer.pts = pts
    source.emit('push-buffer', buffer)


class Ticker:
    """Calls `tick(n)` for picture after picture on GLib's main loop, until `stop`."""

    def __init__(self, fps, tick):
        from gi.repository import GLib
        self.glib, self.fps, self.tick, self.n, self.on = GLib, fps, tick, 0, True
        self.started = time.monotonic()
        GLib.idle_add(self.run)

    def run(self):
        """One picture, and the appointment for the next."""
        if not self.on:
            return False
        self.tick(self.n)
        # By the clock and not by an interval, else the rate sinks with the machine's load.
        late = time.monotonic() - self.started - (self.n + 1) / self.fps
        self.n += 1 + max(0, int(late * self.fps))
        due = self.started + self.n / self.fps
        self.glib.timeout_add(max(0, round((due - time.monotonic()) * 1000)), self.run)
        return False

    def stop(self):
        """No picture from now on."""
        self.on = False


def main():
    """Pictures to standard output. None is left out when it is late: a reader that counts them must not drift."""
    options = parser(__doc__).parse_args()
    scene = Scene(options)
    started = time.monotonic()
    n = 0
    while True:
        time.sleep(max(0, started + n / options.fps - time.monotonic()))
        try:
            sys.stdout.buffer.write(scene.picture(n))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(0)  # the encoder is gone
        n += 1


if __name__ == '__main__':
    main()
