import Camera from './camera';

// Rendered on the server for each request; the camera begins in the browser.
export const dynamic = 'force-dynamic';

export default function Page() {
  return <main><h1>Demo</h1><p>Made at {new Date().toISOString()}</p><Camera stream="demo" /></main>;
}
