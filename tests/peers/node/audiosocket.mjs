// A call by an AudioSocket implementation that is not ours: node audiosocket.mjs HOST PORT UUID < slin
// Its packets, its pace; prints "hangup" once the other side has hung up.
import net from 'node:net';
import { AudioSocketConnection, FrameType, encodeFrame, encodeHangup } from 'asterisk-audiosocket';

const [host, port, uuid] = process.argv.slice(2);
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);

const socket = net.connect({ host, port: Number(port) });
const call = new AudioSocketConnection(socket);
call.on('hangup', () => { console.log('hangup'); socket.destroy(); });
socket.write(encodeFrame(FrameType.UUID, Buffer.from(uuid.replaceAll('-', ''), 'hex')));
await call.play(Buffer.concat(chunks));
socket.write(encodeHangup());
