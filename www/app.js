const m = location.pathname.match(/^\/(watch|embed)\/([^/]+)/);
const p = document.createElement('sightline-player');
p.setAttribute('stream', m ? decodeURIComponent(m[2]) : 'cam'); p.setAttribute('muted', '');
document.body.append(p);
