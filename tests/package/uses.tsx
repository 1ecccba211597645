// What a page may write in React. Nothing here is run: it is compiled against the packed package.
import { useRef } from 'react';
import { SightlinePlayer, type SightlinePlayerElement } from 'sightline-player/react';

export function Gate() {
  const player = useRef<SightlinePlayerElement>(null);
  return (
    <>
      <SightlinePlayer ref={player} className="gate" style={{ width: 300 }} id="gate" data-camera="gate" src="wss://host/ws" stream="gate" muted
        autoPlay={false} controls targetLatency={300} renderer="webcodecs" quality="auto" poster="/gate.jpg" wasmUrl="/player.wasm"
        onLatency={event => event.detail.toFixed()} onStateChange={event => event.detail.state} onError={event => event.detail.fatal}
        onPlaying={event => event.type} onSnapshot={event => event.detail.size} onClick={event => event.clientX} />
      <sightline-player stream="yard" muted target-latency={300} />
      <button onClick={() => player.current?.seekToLive()}>Live</button>
      {/* @ts-expect-error there is no such property */}
      <SightlinePlayer streem="gate" />
    </>
  );
}
