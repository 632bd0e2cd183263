"""Headless Chromium for tests of pages, controlled over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import websocket

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
_OPTIONS = (
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--remote-debugging-port=0',
)
_PATIENCE = 30.0


def find_chromium() -> str | None:
    """Path of the browser; None if none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one tab.

    Attributes:
        requests: URLs that the page requested.
        errors: Exceptions of its scripts.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self.process = subprocess.Popen(
            [program, *_OPTIONS, f'--user-data-dir={profile}', 'about:blank'],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._numbers = itertools.count(1)
        try:
            port = self._port(profile / 'DevToolsActivePort')
            self.socket = websocket.create_connection(
                f'ws://127.0.0.1:{port[0]}{port[1]}', timeout=_PATIENCE, suppress_origin=True
            )
            self.session = None
            tab = self.send('Target.createTarget', url='about:blank')['targetId']
            attached = self.send('Target.attachToTarget', targetId=tab, flatten=True)
            self.session = attached['sessionId']
            for domain in ('Page', 'Network', 'Runtime'):
                self.send(f'{domain}.enable')
        except BaseException:
            self.process.kill()
            raise

    def _port(self, file: Path) -> list[str]:
        """Port and path of the protocol, from a file that the browser writes when it is ready."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            lines = file.read_text().split() if file.exists() else []
            if len(lines) == 2:
                return lines
            time.sleep(0.05)
        raise RuntimeError('the browser did not start')

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message = {'id': number, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get('id') == number:
                assert 'error' not in answer, answer['error']
                return answer['result']
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        if event['method'] == 'Network.requestWillBeSent':
            self.requests.append(event['params']['request']['url'])
        elif event['method'] == 'Runtime.exceptionThrown':
            details = event['params']['exceptionDetails']
            self.errors.append(details.get('exception', {}).get('description', details['text']))

    def run(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are awaited."""
        answer = self.send(
            'Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True
        )
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def wait_for(self, expression: str) -> Any:
        """Wait until a JavaScript expression is true, and return its value."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            value = self.run(expression)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f'never true: {expression}; errors of the page: {self.errors}')

    def open(self, page: Path, width: int = 1300, height: int = 900, mobile: bool = False) -> None:
        """Load a file in a window of this size and wait until it is complete."""
        self.requests.clear()
        self.errors.clear()
        self.send(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=mobile,
        )
        self.send('Page.navigate', url=page.as_uri())
        self.wait_for(f'location.href === "{page.as_uri()}" && document.readyState === "complete"')

    def mouse(self, x: float, y: float, kind: str = 'mouseMoved', **more: Any) -> None:
        """Send a mouse event at a point of the window."""
        self.send('Input.dispatchMouseEvent', type=kind, x=x, y=y, **more)

    def key(self, name: str, modifiers: int = 0) -> None:
        """Press and release a key. Modifiers: 8 for Shift."""
        for kind in ('keyDown', 'keyUp'):
            self.send('Input.dispatchKeyEvent', type=kind, key=name, code=name, modifiers=modifiers)

    def scheme(self, name: str) -> None:
        """Show pages in a scheme, ``'light'`` or ``'dark'``."""
        features = [{'name': 'prefers-color-scheme', 'value': name}]
        self.send('Emulation.setEmulatedMedia', features=features)

    def screenshot(self) -> bytes:
        """The visible part of the page, as a PNG file."""
        return base64.b64decode(self.send('Page.captureScreenshot', format='png')['data'])

    def close(self) -> None:
        """Close the browser."""
        self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
