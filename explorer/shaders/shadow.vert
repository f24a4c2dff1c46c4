#version 330 core
// The quad that holds the picture's shadow on the wall.

uniform vec2 u_viewport;   // device pixels
uniform vec4 u_rect;       // device pixels

in vec2 in_corner;

out vec2 v_at;

void main() {
    v_at = mix(u_rect.xy, u_rect.zw, in_corner);
    vec2 clip = v_at / u_viewport * 2.0 - 1.0;
    gl_Position = vec4(clip.x, -clip.y, 0.0, 1.0);
}
