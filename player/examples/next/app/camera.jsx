'use client';
import { useState } from 'react';
import { SightlinePlayer } from 'sightline-player/react';

export default function Camera({ stream }) {
  const [state, setState] = useState('connecting');
  return (
    <figure>
      <SightlinePlayer src="ws://127.0.0.1:8080/ws" stream={stream} muted controls style={{ width: 640 }}
        onStateChange={event => setState(event.detail.state)} />
      <figcaption>{stream}: {state}</figcaption>
    </figure>
  );
}
