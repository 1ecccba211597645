'use client';
// <SightlinePlayer> for React: the element, with its attributes as properties, its events as `on…`, itself as the ref.
import { createElement, forwardRef, useEffect, useImperativeHandle, useLayoutEffect, useRef } from 'react';
import './sightline-player/element.js';

const ATTRIBUTES = {
  src: 'src', stream: 'stream', muted: 'muted', autoPlay: 'autoplay', controls: 'controls', targetLatency: 'target-latency',
  renderer: 'renderer', quality: 'quality', poster: 'poster', wasmUrl: 'wasm-url',
};
const EVENTS = {
  onPlay: 'play', onPlaying: 'playing', onWaiting: 'waiting', onPause: 'pause', onVolumeChange: 'volumechange', onResize: 'resize',
  onLoadedData: 'loadeddata', onLatency: 'latency', onStateChange: 'statechange', onStats: 'stats', onError: 'error',
  onRendererChange: 'rendererchange', onAutoplayMuted: 'autoplaymuted', onGestureNeeded: 'gestureneeded', onSnapshot: 'snapshot',
};
// On a server there is no layout, and React complains of being asked for it.
const useLayout = typeof document === 'undefined' ? useEffect : useLayoutEffect;

export const SightlinePlayer = forwardRef(function SightlinePlayer({ className, ...props }, ref) {
  const own = useRef(null), handlers = useRef(props);
  const rest = {};
  for (const name of Object.keys(props)) if (!(name in ATTRIBUTES) && !(name in EVENTS)) rest[name] = props[name];

  useImperativeHandle(ref, () => own.current, []);
  // What React itself would make of them differs from version to version.
  useLayout(() => {
    handlers.current = props;
    for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
      const value = props[name];
      if (value === false && name === 'autoPlay') own.current.setAttribute(attribute, 'off');
      else if (value == null || value === false) own.current.removeAttribute(attribute);
      else own.current.setAttribute(attribute, value === true ? '' : value);
    }
  });
  useLayout(() => {
    const element = own.current, watch = new AbortController();
    for (const [name, type] of Object.entries(EVENTS)) {
      element.addEventListener(type, event => handlers.current[name]?.(event), { signal: watch.signal });
    }
    return () => watch.abort();
  }, []);
  return createElement('sightline-player', { ...rest, ref: own, class: className, suppressHydrationWarning: true });
});
