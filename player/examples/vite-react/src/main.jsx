import { StrictMode, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { SightlinePlayer } from 'sightline-player/react';

function Camera({ stream }) {
  const player = useRef(null);
  const [state, setState] = useState('connecting');
  const [latencyMs, setLatencyMs] = useState(null);
  return (
    <figure>
      <SightlinePlayer ref={player} src="ws://127.0.0.1:8080/ws" stream={stream} muted controls style={{ width: 640 }}
        onStateChange={event => setState(event.detail.state)} onLatency={event => setLatencyMs(event.detail)} />
      <figcaption>
        {stream}: {state}{latencyMs !== null && `, ${Math.round(latencyMs)} ms`}{' '}
        <button onClick={() => player.current.seekToLive()}>To the live edge</button>
      </figcaption>
    </figure>
  );
}

createRoot(document.querySelector('#root')).render(<StrictMode><Camera stream="demo" /></StrictMode>);
